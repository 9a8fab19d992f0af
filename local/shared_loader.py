"""One loader for all of a process's botocore sessions: it keeps the models of services, and a client
then costs milliseconds instead of a tenth of a second.
"""

import functools

import botocore.session

from local.configuration import REGION


def share_loader(*services: str) -> None:
    """Share the loader from now on, and load the models of these services."""
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    session = botocore.session.get_session()
    for service in services:
        session.create_client(service, region_name=REGION)
