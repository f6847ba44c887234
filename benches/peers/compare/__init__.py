"""s3flow beside its peers; see ../run.sh."""
