"""Between the password and the session: who must show a second factor holds a token for five minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.identity import second_factors, user_tokens
from penstock.wire.errors import AccessDenied

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.identity.signin import SignedIn

_PURPOSE = "identity/second-step"
_LASTS_MS = 5 * 60_000


def token_for(app: App, user: SignedIn) -> str:
    """What a user holds who has shown the password and not the second factor yet."""
    until = app.clock.now() + _LASTS_MS
    return user_tokens.token_of(app, _PURPOSE, user_id=user.session.principal_id, changed=user.changed, until=until)


async def user_of(app: App, token: str) -> SignedIn:
    """The user of a token, who has shown the password only. Raises AccessDenied."""
    user = await user_tokens.user_of(app, _PURPOSE, token)
    if user is None:
        raise AccessDenied("This took too long, or the password is another by now. Sign in again.")
    return user


async def show_code(app: App, token: str, code: str) -> SignedIn:
    """The user of a token, with the factor that was shown. Raises AccessDenied."""
    return await second_factors.show(app, await user_of(app, token), code)
