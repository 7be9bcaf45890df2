"""What is removed from a face and under which key: patches, the steward's key, and the job that masks a dataset."""
