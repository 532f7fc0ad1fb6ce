"""The two overlay networks. Nothing else belongs here."""

NODE_NETWORK = "10.18.0.0/16"  # instances: a block for each cluster, a subnet for each worker
SERVICE_NETWORK = "10.30.0.0/16"  # services
