"""The Fargate task: one attempt of one run."""
