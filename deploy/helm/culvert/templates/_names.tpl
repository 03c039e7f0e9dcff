{{- /* Names and labels. Every template takes the including chart's context and reads .Values.culvert. */ -}}

{{- define "culvert.name" -}}
{{- printf "%s-culvert" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "culvert.labels" -}}
app.kubernetes.io/name: culvert
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: connector
app.kubernetes.io/part-of: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* Which pods: those of this release that have the sidecar. The chart's pods carry the instance label already. */ -}}
{{- define "culvert.selector" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
culvert/sidecar: "true"
{{- end -}}

{{- define "culvert.image" -}}
{{- with .Values.culvert.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{- /* culvert.ini from .Values.culvert.config. */ -}}
{{- define "culvert.ini" -}}
{{- range $section, $options := .Values.culvert.config }}
[{{ $section }}]
{{- range $option, $value := $options }}
{{ $option }} = {{ if kindIs "slice" $value }}{{ join ", " $value }}{{ else if kindIs "bool" $value }}{{ ternary "yes" "no" $value }}{{ else }}{{ $value }}{{ end }}
{{- end }}
{{ end -}}
{{- end -}}
