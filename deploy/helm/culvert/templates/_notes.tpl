{{- /* For the NOTES.txt of the including chart. */ -}}
{{- define "culvert.notes" -}}
{{- with .Values.culvert -}}
{{- if .enabled -}}
culvert carries the tunnel in the router's pods ({{ include "culvert.image" $ }}).

  Is it connected?   kubectl --namespace {{ $.Release.Namespace }} exec DEPLOYMENT -c culvert -- culvert ready
  What does it say?  kubectl --namespace {{ $.Release.Namespace }} logs DEPLOYMENT -c culvert
  Its token          Secret {{ .tokenSecret.name }}, key {{ .tokenSecret.key }}; a new one takes over without a restart
{{- if not .networkPolicy.enabled }}

  The network policy is off: whoever reaches the pods reaches the router without passing the tunnel.
{{- end }}
{{- else -}}
culvert is switched off (culvert.enabled): these pods carry no tunnel.
{{- end -}}
{{- end -}}
{{- end -}}
