"""Run one stage: `python main.py pre|obj|rec|client`."""

import os

# Frames are small: threads of the linear algebra library cost more than they bring. It reads
# this when NumPy is imported, so it has to be set first.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from ar.stages import main

if __name__ == "__main__":
    main()
