{{/* Names and labels */}}
{{- define "leadline.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "leadline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "leadline.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "leadline.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which objects select pods: they never change. Call with (list $ "coordinator") */}}
{{- define "leadline.selector" -}}
app.kubernetes.io/name: {{ include "leadline.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "leadline.labels" -}}
{{ include "leadline.selector" . }}
app.kubernetes.io/part-of: leadline
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end -}}

{{/* Labels of pods: no chart version, so that a new chart alone restarts nothing */}}
{{- define "leadline.podLabels" -}}
{{ include "leadline.selector" . }}
app.kubernetes.io/part-of: leadline
{{- end -}}

{{- define "leadline.image" -}}
{{- $chart := index . 0 -}}{{- $image := index . 1 -}}
{{- if $image.digest -}}{{ $image.repository }}@{{ $image.digest }}{{- else -}}{{ $image.repository }}:{{ default $chart.AppVersion $image.tag }}{{- end -}}
{{- end -}}

{{- define "leadline.controlSecretName" -}}
{{- default (printf "%s-control" (include "leadline.fullname" .)) .Values.controlSecret.existingSecret -}}
{{- end -}}

{{- define "leadline.apiKeysSecretName" -}}
{{- if .Values.apiKeys.existingSecret -}}{{ .Values.apiKeys.existingSecret }}
{{- else if .Values.apiKeys.values -}}{{ include "leadline.fullname" . }}-api-keys
{{- end -}}
{{- end -}}

{{- define "leadline.redisSecretName" -}}
{{- if eq .Values.redis.mode "bundled" -}}{{ include "leadline.fullname" . }}-redis
{{- else -}}{{ required "redis.external.existingSecret: name the Secret that holds the url" .Values.redis.external.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "leadline.policyClaimName" -}}
{{- default (printf "%s-policy" (include "leadline.fullname" .)) .Values.policyTrainer.volume.existingClaim -}}
{{- end -}}

{{- define "leadline.priorityClassName" -}}
{{- if .Values.priorityClass.existing -}}{{ .Values.priorityClass.existing }}
{{- else if .Values.priorityClass.create -}}{{ include "leadline.fullname" . }}
{{- end -}}
{{- end -}}

{{- define "leadline.modelDirectory" -}}
{{- if eq .Values.model.source "builtin" -}}/usr/share/leadline/models/reference{{- else -}}/models/{{ .Values.model.subPath }}{{- end -}}
{{- end -}}

{{/* How long a pod may take to leave: preStop, drain, 2 s to say goodbye, and a margin of a quarter, at least 3 s */}}
{{- define "leadline.coordinatorGraceSeconds" -}}
{{- $drain := divf (float64 .Values.coordinator.drainMs) 1000.0 | ceil | int -}}
{{- add .Values.coordinator.preStopSeconds $drain 2 (max 3 (div $drain 4)) -}}
{{- end -}}
{{- define "leadline.workerGraceSeconds" -}}
{{- $drain := divf (float64 .Values.worker.drainMs) 1000.0 | ceil | int -}}
{{- add $drain 2 (max 3 (div $drain 4)) -}}
{{- end -}}

{{/* Pod and container security: the restricted Pod Security Standard, plus a read-only root */}}
{{- define "leadline.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- define "leadline.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "leadline.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "leadline.selector" . | nindent 8 }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "leadline.selector" . | nindent 8 }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "leadline.selector" . | nindent 14 }}
{{- end -}}

{{/* What pods of either kind share: placement, priority, pull secrets. Call with (list $ "worker" .Values.worker) */}}
{{- define "leadline.placement" -}}
{{- $root := index . 0 -}}{{- $values := index . 2 -}}
{{- with include "leadline.priorityClassName" $root }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{ include "leadline.spread" (list $root (index . 1)) }}
{{- end -}}

{{/* The three probes of the admin port. Call with (list startupSeconds livenessSeconds) */}}
{{- define "leadline.probes" -}}
# Has it been ready once? Slow loading is not death: nothing else is asked before.
startupProbe:
  httpGet: {path: /startupz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: {{ div (add (index . 0) 4) 5 }}
# Can it serve now?
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
# Is a step stuck beyond the stall limit? Being busy is not.
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}

{{- define "leadline.modelVolume" -}}
{{- if ne .Values.model.source "builtin" }}
- name: models
  {{- if eq .Values.model.source "pvc" }}
  persistentVolumeClaim: {claimName: {{ include "leadline.fullname" . }}-model{{ if not .Values.model.fetch.enabled }}, readOnly: true{{ end }}}
  {{- else if eq .Values.model.source "existingClaim" }}
  persistentVolumeClaim: {claimName: {{ .Values.model.existingClaim }}{{ if not .Values.model.fetch.enabled }}, readOnly: true{{ end }}}
  {{- else if eq .Values.model.source "hostPath" }}
  hostPath: {path: {{ .Values.model.hostPath | quote }}, type: Directory}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.model.emptyDirSize }}}
  {{- end }}
{{- end }}
{{- end -}}
{{- define "leadline.modelMount" -}}
{{- if ne .Values.model.source "builtin" }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- end -}}

{{/* The init container that fetches. Call with (list $ "worker") */}}
{{- define "leadline.fetchContainer" -}}
{{- $root := index . 0 -}}{{- $fetch := $root.Values.model.fetch -}}
{{- if $fetch.enabled }}
initContainers:
  - name: fetch-model
    image: {{ $fetch.image }}
    imagePullPolicy: {{ $root.Values.images.pullPolicy }}
    # Several pods may fetch into one volume: each into its own directory, and the first to be complete is renamed into place.
    command: [/bin/sh, -ceu]
    args:
      - |
        final=/models/{{ $root.Values.model.subPath }}
        if [ -f "$final/config.json" ]; then echo "already there"; exit 0; fi
        mkdir -p "$(dirname "$final")"
        TARGET=/models/.fetch-$POD_NAME; export TARGET
        rm -rf "$TARGET"; mkdir "$TARGET"
        {{- $fetch.command | nindent 8 }}
        [ -f "$TARGET/config.json" ] || { echo "the command left no config.json in $TARGET"; exit 1; }
        mv -T "$TARGET" "$final" || { rm -rf "$TARGET"; [ -f "$final/config.json" ]; }
    env:
      # A shared volume gets all of it, whoever comes first; a volume of the pod's own only what its role needs.
      - {name: ROLE, value: {{ eq $root.Values.model.source "emptyDir" | ternary (index . 1) "worker" }}}
      - {name: HOME, value: /tmp}
      - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    {{- with $fetch.secretName }}
    envFrom:
      - secretRef: {name: {{ . }}}
    {{- end }}
    resources:
      {{- toYaml $fetch.resources | nindent 6 }}
    {{- include "leadline.containerSecurity" $root | nindent 4 }}
    volumeMounts:
      - {name: models, mountPath: /models}
      - {name: tmp, mountPath: /tmp}
{{- end }}
{{- end -}}
