#!/bin/sh
# Notify people of what happens to a pipeline and its build project: notify.sh PIPELINE PROJECT ENDPOINT...
# An endpoint is an address of mail, or an incoming webhook of Slack or Microsoft Teams. Running it again changes nothing.
set -eu
pipeline=$1 project=$2
shift 2
account=$(aws sts get-caller-identity --query Account --output text)
region=${AWS_REGION:-us-east-1}
topic=$(aws sns create-topic --name "$pipeline-news" --query TopicArn --output text)

# Two services publish to the topic, and the account's own users and roles as far as their policies go.
aws sns set-topic-attributes --topic-arn "$topic" --attribute-name Policy --attribute-value '{
  "Version": "2012-10-17",
  "Statement": [{
    "Effect": "Allow",
    "Principal": {"Service": ["codestar-notifications.amazonaws.com", "events.amazonaws.com"]},
    "Action": "SNS:Publish",
    "Resource": "'"$topic"'",
    "Condition": {"StringEquals": {"aws:SourceAccount": "'"$account"'"}}
  }]
}'

for endpoint in "$@"; do
  case $endpoint in
    https://hooks.slack.com/*) protocol=https attributes=PenstockFormat=slack ;;
    https://*.logic.azure.com* | https://*.api.powerplatform.com*) protocol=https attributes=PenstockFormat=teams ;;
    *@*) protocol=email attributes= ;;
    *) echo "$endpoint is neither an address of mail nor a webhook of Slack or Teams" >&2; exit 1 ;;
  esac
  aws sns subscribe --topic-arn "$topic" --protocol "$protocol" --notification-endpoint "$endpoint" \
    ${attributes:+--attributes "$attributes"} --output text
done

# Of the pipeline: a notification rule. Its approvals are among its events.
name="$pipeline news"
arn="arn:aws:codepipeline:$region:$account:$pipeline"
known=$(aws codestar-notifications list-notification-rules --filters "Name=RESOURCE,Value=$arn" --query 'length(NotificationRules)')
if [ "$known" = 0 ]; then
  aws codestar-notifications create-notification-rule --name "$name" --resource "$arn" --detail-type FULL \
    --event-type-ids codepipeline-pipeline-pipeline-execution-failed codepipeline-pipeline-pipeline-execution-succeeded \
    codepipeline-pipeline-manual-approval-needed --targets "TargetType=SNS,TargetAddress=$topic" --output text
fi

# Of the project: a rule of EventBridge, which takes what fails only.
aws events put-rule --name "$project-fails" --output text --event-pattern '{
  "source": ["aws.codebuild"],
  "detail-type": ["CodeBuild Build State Change"],
  "detail": {"project-name": ["'"$project"'"], "build-status": ["FAILED", "STOPPED"]}
}'
aws events put-targets --rule "$project-fails" --targets "Id=news,Arn=$topic" --query FailedEntryCount
