"""GetDeploymentSigner, an addition to CodeDeploy: the certificate that hosts pin."""

from __future__ import annotations

from penstock.deployments.hostcommands.signer import Signer
from penstock.room import Call
from penstock.wire.call import Input, Output
from penstock.wire.registry import Operations


def declare(signer: Signer) -> Operations:
    """The operation, bound to the signer of this process."""
    operations = Operations("penstock")

    @operations.operation("GetDeploymentSigner")
    async def get_deployment_signer(_call: Call, _input: Input) -> Output:
        """The certificate (PEM) of the key that signs deployment specifications: an agent's `signer_certificate`."""
        return {"certificate": await signer.certificate()}

    return operations
