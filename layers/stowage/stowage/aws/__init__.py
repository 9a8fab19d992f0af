"""The only boto3 of the product. AWS's errors become our own here, once."""
