{{- define "acequia.name" -}}
{{- printf "%s-acequia" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "acequia.selector" -}}
app.kubernetes.io/name: acequia
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "acequia.labels" -}}
{{ include "acequia.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "acequia.account" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "acequia.name" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}
