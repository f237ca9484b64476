"""What the simulated controllers have in common that look at a cluster again and again."""

import logging
import threading
import time

from botocore.exceptions import BotoCoreError, ClientError
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from local.api import Api, Object, path, said

EVERY = 1.0


class Controller(threading.Thread):
    """Of one cluster: looks at it once a second, whatever happens."""

    def __init__(self, api: Api) -> None:
        super().__init__(name=type(self).__name__.lower(), daemon=True)
        self.api = api

    def look(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        logger = logging.getLogger(self.name)
        while True:
            try:
                self.look()
            except ApiException as error:
                logger.warning("%s", said(error))
            except (HTTPError, BotoCoreError, ClientError) as error:
                logger.warning("%s", error)
            time.sleep(EVERY)

    def get(self, version: str, plural: str, namespace: str | None, name: str) -> Object | None:
        try:
            return self.api.call("GET", path(version, plural, namespace, name))
        except ApiException as error:
            if error.status == 404:
                return None
            raise
