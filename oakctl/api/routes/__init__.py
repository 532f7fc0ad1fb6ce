"""The routes of `/v1`, one module per noun of the command line."""
