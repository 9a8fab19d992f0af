"""The whole product on one machine: the clouds' parts that `template.yaml` asks for, played by processes of ours."""
