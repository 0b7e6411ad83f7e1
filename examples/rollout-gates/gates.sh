#!/bin/sh
# Sources, alarms, and a deployment group that they guard. Every command may be run again.
set -eu
application=${APPLICATION:-shop} group=${GROUP:-web}
health=${HEALTH_URL:-https://shop.example.com/health}
prometheus=${PROMETHEUS_URL:-http://prometheus.example.com:9090}
statistics=${HAPROXY_URL:-http://lb.example.com:8404/stats}

aws penstock put-metric-source --source-name shop --interval-seconds 10 --http "url=$health,expectedText=healthy" >/dev/null
aws penstock put-metric-source --source-name slow-requests --interval-seconds 15 \
  --prometheus "{\"url\": \"$prometheus\", \"metricName\": \"P99Seconds\", \"query\": \"histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket{job='shop'}[1m])) by (le))\"}" >/dev/null
aws penstock put-metric-source --source-name lb --interval-seconds 10 --haproxy "url=$statistics,proxies=web" >/dev/null

alarm() {
  name=$1 namespace=$2 metric=$3 dimensions=$4 statistic=$5 operator=$6 threshold=$7 missing=$8
  # shellcheck disable=SC2086 - several dimensions are several words
  aws cloudwatch put-metric-alarm --alarm-name "$name" --namespace "$namespace" --metric-name "$metric" --dimensions $dimensions --statistic "$statistic" \
    --comparison-operator "$operator" --threshold "$threshold" --period 10 --evaluation-periods 3 --datapoints-to-alarm 2 --treat-missing-data "$missing"
}
alarm "$application-down" Penstock/Probes Success Name=Source,Value=shop Minimum LessThanThreshold 1 breaching
alarm "$application-slow" Penstock/Prometheus P99Seconds Name=Source,Value=slow-requests Maximum GreaterThanThreshold 0.5 notBreaching
alarm "$application-errors" Penstock/HAProxy Responses5xxPercent "Name=Source,Value=lb Name=Proxy,Value=web Name=Server,Value=BACKEND" Maximum GreaterThanThreshold 5 notBreaching

aws deploy update-deployment-group --application-name "$application" --current-deployment-group-name "$group" \
  --alarm-configuration "enabled=true,alarms=[{name=$application-down},{name=$application-slow},{name=$application-errors}]" \
  --auto-rollback-configuration enabled=true,events=DEPLOYMENT_STOP_ON_ALARM
