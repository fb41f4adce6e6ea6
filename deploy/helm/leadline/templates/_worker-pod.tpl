{{/* The pod of a worker. Call with (dict "root" $ "role" "alone" | "leader" | "follower"); followers have no admin port, so no probes */}}
{{- define "leadline.workerPod" -}}
{{- $root := .root }}{{- $w := $root.Values.worker }}{{- $groups := ne .role "alone" }}
metadata:
  labels:
    {{- include "leadline.podLabels" (list $root "worker") | nindent 4 }}
    {{- with $w.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    kubectl.kubernetes.io/default-container: worker
    {{- with $w.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "leadline.fullname" $root }}-worker
  {{- include "leadline.podSecurity" $root | nindent 2 }}
  terminationGracePeriodSeconds: {{ include "leadline.workerGraceSeconds" $root }}
  {{- include "leadline.placement" (list $root "worker" $w) | nindent 2 }}
  {{- include "leadline.fetchContainer" (list $root "worker") | nindent 2 }}
  containers:
    - name: worker
      image: {{ include "leadline.image" (list $root.Chart $root.Values.images.worker) }}
      imagePullPolicy: {{ $root.Values.images.pullPolicy }}
      # Starts this pod's ranks, passes SIGTERM on to them, and ends when one of them ends.
      command: [/usr/local/bin/leadline-ranks]
      args:
        - --model={{ include "leadline.modelDirectory" $root }}
        - --served-model-name={{ $root.Values.model.name }}
        - --device={{ $w.device }}
        - --weights={{ $w.weights }}
        - --kv-dtype={{ $w.kvDtype }}
        {{- with $w.kvPool }}
        - --kv-pool={{ . }}
        {{- end }}
        - --max-model-len={{ int64 $w.maxModelLen }}
        - --max-seqs={{ $w.maxSeqs }}
        - --step-tokens={{ $w.stepTokens }}
        - --threads={{ $w.threads }}
        - --kv-memory={{ $root.Values.kvStore.memory }}
        {{- if ne $root.Values.kvStore.disk "0" }}
        - --kv-disk=/var/lib/leadline/kv
        - --kv-disk-bytes={{ $root.Values.kvStore.disk }}
        {{- else }}
        - --kv-disk-bytes=0
        {{- end }}
        {{- if ne $root.Values.redis.mode "none" }}
        - --kv-redis=@/etc/leadline/redis/url
        {{- end }}
        {{- if not $w.prefixCache }}
        - --no-prefix-cache
        {{- end }}
        - --speculation={{ $root.Values.speculation.policy }}
        - --draft-ranks={{ $root.Values.speculation.draftRanks }}
        {{- if $root.Values.policyTrainer.enabled }}
        - --policy-file=/var/lib/leadline/policy/exit_policy.llp
        - --experience=/var/lib/leadline/policy/experience/$(POD_NAME)
        - --explore={{ $root.Values.policyTrainer.explore }}
        {{- end }}
        - --listen=0.0.0.0:7100
        - --admin-host=0.0.0.0
        - --admin-port=9000
        - --control-secret-file=/etc/leadline/control/secret
        - --worker-index=$(WORKER_INDEX)
        - --stall-limit-ms={{ int64 $w.stallLimitMs }}
        - --drain-ms={{ int64 $w.drainMs }}
        - --log-json
        {{- range $w.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      env:
        - {name: LEADLINE_RANKS_PER_NODE, value: {{ $w.ranksPerNode | quote }}}
        {{- if $groups }}
        # LWS_GROUP_SIZE, LWS_WORKER_INDEX and LWS_LEADER_ADDRESS come from the controller.
        - {name: LEADLINE_RENDEZVOUS_PORT, value: "7101"}
        - {name: LEADLINE_GROUP_TOKEN, valueFrom: {secretKeyRef: {name: {{ include "leadline.controlSecretName" $root }}, key: secret}}}
        - {name: WORKER_INDEX, valueFrom: {fieldRef: {fieldPath: "metadata.labels['leaderworkerset.sigs.k8s.io/group-index']"}}}
        {{- else }}
        - {name: WORKER_INDEX, valueFrom: {fieldRef: {fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}}}
        {{- end }}
        {{- if $root.Values.policyTrainer.enabled }}
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        {{- end }}
        {{- with $w.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: control, containerPort: 7100}
        - {name: admin, containerPort: 9000}
        {{- if $groups }}
        - {name: rendezvous, containerPort: 7101}
        {{- end }}
      {{- if ne .role "follower" }}
      {{- include "leadline.probes" (list $w.startupSeconds) | nindent 6 }}
      {{- end }}
      resources:
        {{- $resources := deepCopy $w.resources }}
        {{- if $w.gpus }}
        {{- $_ := set $resources "requests" (merge (dict $w.gpuResource ($w.gpus | toString)) (default dict $resources.requests)) }}
        {{- $_ := set $resources "limits" (merge (dict $w.gpuResource ($w.gpus | toString)) (default dict $resources.limits)) }}
        {{- end }}
        {{- toYaml $resources | nindent 8 }}
      {{- include "leadline.containerSecurity" $root | nindent 6 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: shm, mountPath: /dev/shm}
        - {name: control, mountPath: /etc/leadline/control, readOnly: true}
        {{- if ne $root.Values.kvStore.disk "0" }}
        - {name: kv, mountPath: /var/lib/leadline/kv}
        {{- end }}
        {{- if ne $root.Values.redis.mode "none" }}
        - {name: redis, mountPath: /etc/leadline/redis, readOnly: true}
        {{- end }}
        {{- if $root.Values.policyTrainer.enabled }}
        - {name: policy, mountPath: /var/lib/leadline/policy}
        {{- end }}
        {{- include "leadline.modelMount" $root | indent 8 }}
  volumes:
    - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
    - {name: shm, emptyDir: {medium: Memory, sizeLimit: {{ $w.shmSize }}}}
    - {name: control, secret: {secretName: {{ include "leadline.controlSecretName" $root }}, defaultMode: 0440}}
    {{- if ne $root.Values.kvStore.disk "0" }}
    - {name: kv, emptyDir: {sizeLimit: {{ trimSuffix "B" $root.Values.kvStore.disk }}}}
    {{- end }}
    {{- if ne $root.Values.redis.mode "none" }}
    - {name: redis, secret: {secretName: {{ include "leadline.redisSecretName" $root }}, defaultMode: 0440, items: [{key: url, path: url}]}}
    {{- end }}
    {{- if $root.Values.policyTrainer.enabled }}
    - {name: policy, persistentVolumeClaim: {claimName: {{ include "leadline.policyClaimName" $root }}}}
    {{- end }}
    {{- include "leadline.modelVolume" $root | indent 4 }}
{{- end -}}

{{- define "leadline.workerTarget" -}}
{{- if eq .Values.worker.mode "leaderworkerset" }}
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
{{- else }}
apiVersion: apps/v1
kind: StatefulSet
{{- end }}
name: {{ include "leadline.fullname" . }}-worker
{{- end -}}
