{{- define "dunlin.selector" -}}
app.kubernetes.io/name: {{ .Release.Name }}
{{- end }}

{{- define "dunlin.labels" -}}
{{ include "dunlin.selector" . }}
app.kubernetes.io/part-of: dunlin
{{- end }}

{{- /* dunlin.yaml; what `config` says is put over it. */ -}}
{{- define "dunlin.config" -}}
{{- $proxied := dict "proxy_protocol" "required" "proxy_from" .Values.proxyFrom -}}
{{- $listeners := list (dict "url" "tcp://*:1883") (mergeOverwrite (dict "url" "tcp://*:1884") $proxied) -}}
{{- if .Values.tls.enabled -}}
{{- $tls := dict "url" "tls://*:8883" "certificate" "/run/dunlin/tls/tls.crt" "key" "/run/dunlin/tls/tls.key" -}}
{{- $listeners = append $listeners (mergeOverwrite $tls $proxied) -}}
{{- end -}}
{{- $config := dict
  "listeners" $listeners
  "admin" (dict "listen" "*:9464" "keys_file" "/run/dunlin/secrets/admin-keys")
  "auth" (dict "password_file" "/run/dunlin/secrets/users")
  "data" (dict "dir" "/data")
  "log" (dict "format" "json")
  "drain" (dict "wait_s" (int .Values.drain.waitS) "clients_per_second" (int .Values.drain.clientsPerSecond) "longest_s" (int .Values.drain.longestS))
-}}
{{- if .Values.cluster.enabled -}}
{{- $cluster := dict "listen" "*:4000" "seeds" (printf "%s-headless:4000" .Release.Name) "key_file" "/run/dunlin/secrets/cluster-key" -}}
{{- if .Values.cluster.tls.enabled -}}
{{- $in := "/run/dunlin/cluster-tls" -}}
{{- $cluster = mergeOverwrite $cluster (dict "tls" .Values.cluster.tls.mode "tls_certificate" (printf "%s/tls.crt" $in) "tls_key" (printf "%s/tls.key" $in) "tls_ca" (printf "%s/ca.crt" $in)) -}}
{{- end -}}
{{- $config = set $config "cluster" $cluster -}}
{{- end -}}
{{- mergeOverwrite $config .Values.config | toYaml -}}
{{- end }}
