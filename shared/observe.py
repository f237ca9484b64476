"""The one logger and the one set of metrics."""

from aws_lambda_powertools import Logger, Metrics

logger = Logger()
metrics = Metrics()
