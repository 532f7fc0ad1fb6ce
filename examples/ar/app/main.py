"""Run one stage: `python main.py pre|obj|rec|client`."""

from ar.stages import main

if __name__ == "__main__":
    main()
