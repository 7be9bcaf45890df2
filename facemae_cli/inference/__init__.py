"""Networks at work on datasets: the pipeline that feeds a device, embedding faces, and reconstructing masked ones."""
