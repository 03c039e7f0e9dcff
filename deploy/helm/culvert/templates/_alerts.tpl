{{- /* Alert rules: made by tools/alerts from deploy/prometheus/culvert.rules.yml. */ -}}
{{- define "culvert.alertGroups" -}}
groups:
  - name: culvert
    rules:
      - alert: CulvertNoConnection
        expr: sum by (instance) (culvert_edge_connections{state="registered"}) == 0
        for: 1m
        labels: { severity: critical }
        annotations:
          summary: "{{ "{{" }} $labels.instance }} has no connection to Cloudflare's edge"
          description: "Visitors get error 1033 (530) if no other replica serves the tunnel. `culvert doctor` says why."
      - alert: CulvertFewConnections
        expr: avg by (instance) (culvert_edge_connection_up) < 0.6
        for: 10m
        labels: { severity: warning }
        annotations:
          summary: "{{ "{{" }} $labels.instance }} has lost several of its connections to the edge"
      - alert: CulvertErrors
        expr: |
          sum by (instance, rule) (rate(culvert_request_errors_total{side=~"origin|culvert"}[5m]))
            / sum by (instance, rule) (rate(culvert_requests_total[5m])) > 0.05
        for: 5m
        labels: { severity: critical }
        annotations:
          summary: "{{ "{{" }} $value | humanizePercentage }} of the requests for {{ "{{" }} $labels.rule }} fail"
          description: "culvert_request_errors_total by reason and side says what fails, and where."
      - alert: CulvertOriginSlow
        expr: |
          histogram_quantile(0.95, sum by (instance, rule, le) (rate(culvert_response_first_byte_seconds_bucket[10m]))) > 60
        for: 10m
        labels: { severity: warning }
        annotations:
          summary: "One in 20 answers for {{ "{{" }} $labels.rule }} takes more than a minute to begin"
          description: "The edge gives up after about 100 s. Streams: [sse] heartbeat and early_head."
      - alert: CulvertOverhead
        expr: |
          histogram_quantile(0.99, sum by (instance, le) (rate(culvert_request_overhead_seconds_bucket[10m]))) > 0.05
        for: 10m
        labels: { severity: warning }
        annotations:
          summary: "culvert itself holds requests up on {{ "{{" }} $labels.instance }}"
          description: "A filter waits (Access keys, a limit's queue), or the machine has no CPU to spare."
      - alert: CulvertEventGaps
        expr: |
          histogram_quantile(0.99, sum by (instance, rule, le) (rate(culvert_sse_event_gap_seconds_bucket[10m]))) > 60
        for: 10m
        labels: { severity: warning }
        annotations:
          summary: "Event streams of {{ "{{" }} $labels.rule }} lie still for more than a minute"
          description: "The edge cuts them at about 100 s unless [sse] heartbeat is set."
      - alert: CulvertRefusesRequests
        expr: sum by (instance, limit) (rate(culvert_requests_refused_total[5m])) > 0
        for: 5m
        labels: { severity: critical }
        annotations:
          summary: "{{ "{{" }} $labels.instance }} is at its limit on {{ "{{" }} $labels.limit }}"
      - alert: CulvertConfigurationRefused
        expr: increase(culvert_config_updates_total{result="refused"}[15m]) > 0
        labels: { severity: warning }
        annotations:
          summary: "{{ "{{" }} $labels.instance }} could not use the configuration that the dashboard sent; the old one serves"
      - alert: CulvertPathLoss
        expr: |
          sum by (instance, conn_index) (rate(culvert_edge_retransmitted_bytes_total[10m]))
            / sum by (instance, conn_index) (rate(culvert_edge_sent_bytes_total[10m])) > 0.05
        for: 15m
        labels: { severity: warning }
        annotations:
          summary: "More than 5 % of what {{ "{{" }} $labels.instance }} sends on connection {{ "{{" }} $labels.conn_index }} is lost"
      - alert: CulvertConnectionsReplaced
        expr: sum by (instance, reason) (increase(culvert_edge_replaced_total[1h])) > 10
        labels: { severity: warning }
        annotations:
          summary: "{{ "{{" }} $labels.instance }} keeps replacing its connections: {{ "{{" }} $labels.reason }}"
      - alert: CulvertFileDescriptors
        expr: process_open_fds / process_max_fds > 0.8 and on (instance) culvert_open_requests
        for: 5m
        labels: { severity: warning }
        annotations:
          summary: "{{ "{{" }} $labels.instance }} has used 80 % of its file descriptors"
{{ end -}}
