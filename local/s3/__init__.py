"""S3 where moto checks nothing and holds everything in memory: signatures, POST policies, checksums, bytes in files."""
