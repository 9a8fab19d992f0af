"""E-mail by SES."""

from botocore.exceptions import BotoCoreError, ClientError

from stowage.aws.clients import sesv2
from stowage.basics.errors import RunError, TransientRunError
from stowage.settings import settings

_REFUSED = ("BadRequestException", "MessageRejected", "MailFromDomainNotVerifiedException", "NotFoundException")
"""What a repetition would not change (SES API v2, SendEmail, Errors)."""


def send_mail(address: str, subject: str, text: str, html: str) -> None:
    """Send one mail to one address. RunError `mail_refused` where SES does not take it, TransientRunError
    `mail_unavailable` where it does not answer or takes no more for now.
    """
    body = {"Text": {"Data": text, "Charset": "UTF-8"}, "Html": {"Data": html, "Charset": "UTF-8"}}
    try:
        sesv2().send_email(
            FromEmailAddress=settings().notify_sender,
            Destination={"ToAddresses": [address]},
            Content={"Simple": {"Subject": {"Data": subject, "Charset": "UTF-8"}, "Body": body}},
        )
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _REFUSED:
            raise RunError(f"SES refused the e-mail ({code}).", "mail_refused") from error
        raise TransientRunError(f"SES did not take the e-mail ({code}).", "mail_unavailable") from error
    except BotoCoreError as error:
        raise TransientRunError("SES does not answer.", "mail_unavailable") from error
