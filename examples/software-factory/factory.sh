#!/bin/sh
# A pipeline that scans, asks and releases, and sends people mail: factory.sh ADDRESS...
# Running it again with further addresses subscribes them too, and brings the rest back to what is written here.
set -eu
[ $# -gt 0 ] || { echo "usage: factory.sh ADDRESS..." >&2; exit 1; }
cd "$(dirname "$0")"
account=$(aws sts get-caller-identity --query Account --output text)
region=${AWS_REGION:-us-east-1}
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
for file in *.json; do sed "s/ACCOUNT/$account/g; s/REGION/$region/g" "$file" > "$files/$file"; done
cd "$files"

# One topic for all news. EventBridge may publish for the rules below; the pipeline's role asks approvers.
topic=$(aws sns create-topic --name factory --query TopicArn --output text)
aws sns set-topic-attributes --topic-arn "$topic" --attribute-name Policy --attribute-value file://topic-policy.json
for address in "$@"; do
  aws sns subscribe --topic-arn "$topic" --protocol email --notification-endpoint "$address" --output text
done

exists() { "$@" > /dev/null 2>&1; }

exists aws iam get-role --role-name factory ||
  aws iam create-role --role-name factory --assume-role-policy-document file://trust.json --query Role.Arn --output text
aws iam put-role-policy --role-name factory --policy-name factory --policy-document file://permissions.json
exists aws s3api head-bucket --bucket "factory-artifacts-$account" || aws s3 mb "s3://factory-artifacts-$account"
exists aws codecommit get-repository --repository-name factory ||
  aws codecommit create-repository --repository-name factory --query repositoryMetadata.Arn --output text

known=$(aws codebuild batch-get-projects --names factory-scan factory-release --query 'projects[].name' --output text)
for step in scan release; do
  case " $(echo $known) " in *" factory-$step "*) continue ;; esac
  aws codebuild create-project --name "factory-$step" --query project.arn --output text \
    --source "type=CODEPIPELINE,buildspec=buildspec-$step.yml" --artifacts type=CODEPIPELINE \
    --environment type=LINUX_CONTAINER,image=host,computeType=BUILD_GENERAL1_SMALL --service-role "arn:aws:iam::$account:role/factory"
done

# Calls become events where a trail takes them; its files lie in a bucket of their own.
if ! exists aws cloudtrail get-trail --name factory; then
  exists aws s3api head-bucket --bucket "factory-records-$account" || aws s3 mb "s3://factory-records-$account"
  aws s3api put-bucket-policy --bucket "factory-records-$account" --policy file://trail-policy.json
  aws cloudtrail create-trail --name factory --s3-bucket-name "factory-records-$account" --query TrailARN --output text
fi
aws cloudtrail start-logging --name factory

for rule in factory-runs factory-builds factory-changes; do
  aws events put-rule --name "$rule" --event-pattern "file://$rule.json" --query RuleArn --output text
  aws events put-targets --rule "$rule" --targets "file://$rule.targets.json" --query FailedEntries --output text
done

if exists aws codepipeline get-pipeline --name factory; then
  aws codepipeline update-pipeline --cli-input-json file://pipeline.json --query pipeline.version --output text
else
  aws codepipeline create-pipeline --cli-input-json file://pipeline.json --query pipeline.version --output text
fi
