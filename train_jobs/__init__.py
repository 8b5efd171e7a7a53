"""One module per training job, run with `python -m train_jobs.<job>`."""
