"""The errors of CodePipeline. A class's docstring is its message. Texts: AWS, where they are known."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class ValidationException(ServiceError):
    """The request is not valid."""


class InvalidStructureException(ServiceError):
    """The structure of the pipeline is not valid."""


class InvalidStageDeclarationException(ServiceError):
    """The declaration of a stage is not valid."""


class InvalidActionDeclarationException(ServiceError):
    """The declaration of an action is not valid."""


class InvalidBlockerDeclarationException(ServiceError):
    """Stage '{stage}' declares blockers. Blockers are reserved for future use."""


class PipelineNameInUseException(ServiceError):
    """A pipeline with the name '{name}' already exists in account '{account}'"""


class PipelineNotFoundException(ServiceError):
    """Account '{account}' does not have a pipeline with name '{name}'"""


class PipelineVersionNotFoundException(ServiceError):
    """Pipeline '{name}' does not have a version {version}"""


class PipelineExecutionNotFoundException(ServiceError):
    """Pipeline '{name}' does not have an execution with the id '{execution}'"""


class JobNotFoundException(ServiceError):
    """There is no running action '{action}' that asks anything of {service}."""


class ActionTypeNotFoundException(ServiceError):
    """The account does not have an action type with the category '{category}', the owner '{owner}', the provider '{provider}' and the version '{version}'."""


class RequestFailedException(ServiceError):
    """The request failed: {why}"""


class InvalidNonceException(ServiceError):
    """The nonce is not that of the newest offer of job '{job}': another worker was offered it since, or it is over. Poll for jobs again."""


class InvalidJobStateException(ServiceError):
    """Job '{job}' takes no result: {why}."""


class InvalidJobException(ServiceError):
    """Job '{job}' has no details: it is over, or nobody has polled for it."""


class InvalidClientTokenException(ServiceError):
    """The client token is not that of the account whose pipeline job '{job}' is of."""


class OutputVariablesSizeExceededException(ServiceError):
    """The output variables are {size} bytes large. At most {limit} bytes are taken."""


class StageNotFoundException(ServiceError):
    """Pipeline '{name}' does not have a stage with the name '{stage}'"""


class ActionNotFoundException(ServiceError):
    """Stage '{stage}' of pipeline '{name}' does not have an action with the name '{action}'"""


class ActionExecutionNotFoundException(ServiceError):
    """There is no action execution with the id '{action}'."""


class ConcurrentPipelineExecutionsLimitExceededException(ServiceError):
    """The pipeline has reached the limit for concurrent pipeline executions ({limit})."""


class PipelineExecutionNotStoppableException(ServiceError):
    """Pipeline execution '{execution}' cannot be stopped: it is not in progress."""


class DuplicatedStopRequestException(ServiceError):
    """Pipeline execution '{execution}' is already being stopped."""


class StageNotRetryableException(ServiceError):
    """Stage '{stage}' cannot be retried: {why}."""


class UnableToRollbackStageException(ServiceError):
    """Stage '{stage}' cannot be rolled back to execution '{target}': {why}."""


class PipelineExecutionOutdatedException(ServiceError):
    """Execution '{target}' ran version {version} of the pipeline, which has been updated since: a stage is rolled back to executions of the current version only."""


class ConditionNotOverridableException(ServiceError):
    """The condition {condition} of stage '{stage}' cannot be overridden: {why}."""


class NotLatestPipelineExecutionException(ServiceError):
    """A later execution than '{execution}' has entered stage '{stage}'."""


class InvalidApprovalTokenException(ServiceError):
    """The approval request already received a response or has expired."""


class ApprovalAlreadyCompletedException(ServiceError):
    """The approval action has already been approved or rejected."""


class InvalidNextTokenException(ServiceError):
    """The next token was specified in an invalid format. Make sure that the next token you provided is the token returned by a previous call."""


class InvalidArnException(ServiceError):
    """The resource ARN '{arn}' is not valid."""


class ResourceNotFoundException(ServiceError):
    """The account with id '{account}' does not include a pipeline with the name '{name}'"""


class InvalidTagsException(ServiceError):
    """Not allowed to modify system tags. System tags start with 'aws:'. msg=[Caller is an end user and not allowed to mutate system tags]"""


class TooManyTagsException(ServiceError):
    """Tag limit exceeded for resource [{arn}]."""


class LimitExceededException(ServiceError):
    """The account has reached a limit of this service."""


class InvalidWebhookFilterPatternException(ServiceError):
    """The filter pattern of the webhook is not valid."""


class InvalidWebhookAuthenticationParametersException(ServiceError):
    """The authentication parameters of the webhook are not valid."""


class WebhookNotFoundException(ServiceError):
    """Account '{account}' does not have a webhook with name '{name}'"""
