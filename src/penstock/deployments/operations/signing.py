"""GetDeploymentSigner, an addition to CodeDeploy: the certificate that hosts pin."""

from __future__ import annotations

from penstock.application import Call
from penstock.deployments.operations import ours
from penstock.deployments.service import Deployments
from penstock.wire.call import Input, Output


@ours("GetDeploymentSigner")
async def get_deployment_signer(deployments: Deployments, call: Call, input: Input) -> Output:
    """The certificate (PEM) of the key that signs deployment specifications: an agent's `signer_certificate`."""
    return {"certificate": await deployments.signer.certificate()}
