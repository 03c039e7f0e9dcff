{{- /* What a Deployment includes to have culvert in its pods. */ -}}

{{- /* Fields of the Deployment: a pod goes when its successor is there, which with readiness is to say: is routable. */ -}}
{{- define "culvert.rollout" -}}
{{- with .Values.culvert -}}
{{- if .enabled -}}
strategy:
  type: RollingUpdate
  rollingUpdate:
    maxSurge: 1
    maxUnavailable: 0
{{- if .readiness }}
minReadySeconds: 10
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "culvert.podLabels" -}}
{{- if .Values.culvert.enabled -}}
culvert/sidecar: "true"
{{- end -}}
{{- end -}}

{{- /* Another culvert.ini rolls the pods over. */ -}}
{{- define "culvert.podAnnotations" -}}
{{- if .Values.culvert.enabled -}}
checksum/culvert.ini: {{ tpl (include "culvert.ini" .) . | sha256sum }}
{{- end -}}
{{- end -}}

{{- /* Fields of the pod: account, grace period, topology. */ -}}
{{- define "culvert.podSpec" -}}
{{- with .Values.culvert -}}
{{- if .enabled -}}
{{- if .serviceAccount.create -}}
serviceAccountName: {{ include "culvert.name" $ }}
{{ end -}}
terminationGracePeriodSeconds: {{ add .drainSeconds 30 }}
{{- if .topologySpread }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "culvert.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* An item of initContainers: a native sidecar, which starts before the router and gets SIGTERM after it. */ -}}
{{- define "culvert.sidecar" -}}
{{- with .Values.culvert -}}
{{- if .enabled -}}
- name: culvert
  image: {{ include "culvert.image" $ }}
  imagePullPolicy: {{ .image.pullPolicy }}
  restartPolicy: Always
  args:
    - tunnel
    - --no-autoupdate
    - --config
    - /etc/culvert/culvert.ini
    - run
    - --token-file
    - /etc/tunnel/{{ .tokenSecret.key }}
  env:
    - name: TUNNEL_METRICS
      value: {{ printf "%s:%v" .metricsHost .metricsPort | quote }}
  ports:
    - name: metrics
      containerPort: {{ .metricsPort }}
  startupProbe:
    httpGet:
      path: /startup
      port: metrics
    periodSeconds: 1
    failureThreshold: 30
  livenessProbe:
    httpGet:
      path: /live
      port: metrics
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  {{- if .readiness }}
  readinessProbe:
    httpGet:
      path: /ready
      port: metrics
    periodSeconds: 5
    timeoutSeconds: 5
    failureThreshold: 3
  {{- end }}
  lifecycle:
    preStop:
      exec:
        command: [culvert, drain, --timeout, {{ .drainSeconds }}s]
  {{- with .resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    capabilities:
      drop: [ALL]
    seccompProfile:
      type: RuntimeDefault
  volumeMounts:
    - name: culvert-config
      mountPath: /etc/culvert
      readOnly: true
    - name: tunnel-token
      mountPath: /etc/tunnel
      readOnly: true
    {{- if .guard }}
    - name: cluster
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
    {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The router's lifecycle: it stays until culvert has drained. */ -}}
{{- define "culvert.routerLifecycle" -}}
{{- if .Values.culvert.enabled -}}
preStop:
  httpGet:
    path: /drained
    port: {{ .Values.culvert.metricsPort }}
{{- end -}}
{{- end -}}

{{- /* Items of volumes. */ -}}
{{- define "culvert.volumes" -}}
{{- with .Values.culvert -}}
{{- if .enabled -}}
- name: culvert-config
  configMap:
    name: {{ include "culvert.name" $ }}
- name: tunnel-token
  secret:
    secretName: {{ .tokenSecret.name }}
    items:
      - key: {{ .tokenSecret.key }}
        path: {{ .tokenSecret.key }}
{{- if .guard }}
- name: cluster
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}
