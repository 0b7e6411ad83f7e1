# Credentials of the role for whatever runs after it in this shell: `. ./managed-identity.sh`
set -eu
metadata="http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=api://penstock"
token=$(curl --silent --fail --header "Metadata: true" "$metadata" | sed 's/.*"access_token": *"\([^"]*\)".*/\1/')
credentials=$(aws sts assume-role-with-web-identity --region us-east-1 \
  --role-arn arn:aws:iam::111111111111:role/azure-devops --role-session-name azure-devops --web-identity-token "$token" \
  --query "Credentials.[AccessKeyId,SecretAccessKey,SessionToken]" --output text)
AWS_ACCESS_KEY_ID=$(echo "$credentials" | cut -f1)
AWS_SECRET_ACCESS_KEY=$(echo "$credentials" | cut -f2)
AWS_SESSION_TOKEN=$(echo "$credentials" | cut -f3)
AWS_DEFAULT_REGION=us-east-1
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_DEFAULT_REGION
