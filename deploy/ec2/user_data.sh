#!/bin/bash
# Makes this machine run the front end: at each start, and again when it ends or hangs.
# For EC2's user data (Amazon Linux 2023), or as root on any Linux with systemd. May run again.
#
# The front end listens on 127.0.0.1:7860 only. The way in is Session Manager's port forwarding,
# or a tunnel, whose command holds no secrets: they go into /etc/text-recognizer/secrets.
set -euo pipefail

# Fill these in, in a copy of this file: the front end's image with its registry; the address of the
# model service, or nothing to read with the model in the image; a command that opens a way in to
# port 7860, or nothing; the name under which browsers then reach the machine, or * for any.
IMAGE=''
MODEL_URL=''
TUNNEL=''
HOST_NAME=''

ETC=${DESTDIR:-}/etc
[ -n "$IMAGE" ] || { echo "There is no image: write its name into IMAGE." >&2; exit 2; }

if ! command -v docker >/dev/null; then
    if command -v dnf >/dev/null; then dnf install -y docker
    else apt-get update && apt-get install -y --no-install-recommends docker.io
    fi
fi
systemctl enable --now docker

install -d -m 0755 "$ETC/text-recognizer" "$ETC/systemd/system"
install -d -m 0755 "${DESTDIR:-}/usr/local/bin"
# Written here as NAME=VALUE: the password of the front end (LAB_APP_AUTH), a tunnel's token.
[ -e "$ETC/text-recognizer/secrets" ] || install -m 0600 /dev/null "$ETC/text-recognizer/secrets"
printf 'LAB_MODEL_URL=%s\nLAB_APP_ALLOW_HOST=%s\n' "$MODEL_URL" "$HOST_NAME" >"$ETC/text-recognizer/settings"

# ECR's passwords last for twelve hours: a new one before each start.
cat >"${DESTDIR:-}/usr/local/bin/text-recognizer-pull" <<SCRIPT
#!/bin/sh
set -e
image='$IMAGE'
registry=\${image%%/*}
case \$registry in
*.dkr.ecr.*)
    region=\${registry#*.dkr.ecr.}
    aws ecr get-login-password --region "\${region%%.*}" |
        docker login --username AWS --password-stdin "\$registry"
    ;;
esac
# A registry that is down does not stop an image that is here already.
docker pull "\$image" || docker image inspect "\$image" >/dev/null
SCRIPT
chmod 0755 "${DESTDIR:-}/usr/local/bin/text-recognizer-pull"

cat >"$ETC/systemd/system/text-recognizer.service" <<UNIT
[Unit]
Description=Text recognizer, front end
After=docker.service network-online.target
Wants=network-online.target
Requires=docker.service
StartLimitIntervalSec=0

[Service]
Environment=HOME=/root
ExecStartPre=/usr/local/bin/text-recognizer-pull
ExecStartPre=-/usr/bin/docker rm --force text-recognizer
ExecStart=/usr/bin/docker run --rm --init --name text-recognizer \\
    --publish 127.0.0.1:7860:7860 \\
    --env-file /etc/text-recognizer/settings --env-file /etc/text-recognizer/secrets \\
    --volume text-recognizer:/data --read-only --cap-drop ALL --security-opt no-new-privileges \\
    --memory 1536m --pids-limit 512 \\
    $IMAGE
ExecStop=/usr/bin/docker stop --time 20 text-recognizer
Restart=always
RestartSec=5
TimeoutStartSec=900

[Install]
WantedBy=multi-user.target
UNIT

# Docker notices a front end that no longer answers, and leaves it as it is.
cat >"$ETC/systemd/system/text-recognizer-health.service" <<'UNIT'
[Unit]
Description=Restart the text recognizer where it no longer answers

[Service]
Type=oneshot
ExecStart=/bin/sh -c '[ "$(docker inspect --format "{{.State.Health.Status}}" text-recognizer)" != unhealthy ] || systemctl restart text-recognizer'
UNIT
cat >"$ETC/systemd/system/text-recognizer-health.timer" <<'UNIT'
[Unit]
Description=Look after the text recognizer

[Timer]
OnActiveSec=2min
OnUnitActiveSec=1min

[Install]
WantedBy=timers.target
UNIT

tunnel_unit=$ETC/systemd/system/text-recognizer-tunnel.service
if [ -n "$TUNNEL" ]; then
    printf '#!/bin/sh\nexec %s\n' "$TUNNEL" >"${DESTDIR:-}/usr/local/bin/text-recognizer-tunnel"
    chmod 0755 "${DESTDIR:-}/usr/local/bin/text-recognizer-tunnel"
    cat >"$tunnel_unit" <<'UNIT'
[Unit]
Description=Text recognizer, way in
After=text-recognizer.service
Wants=text-recognizer.service
StartLimitIntervalSec=0

[Service]
EnvironmentFile=/etc/text-recognizer/secrets
ExecStart=/usr/local/bin/text-recognizer-tunnel
DynamicUser=yes
NoNewPrivileges=yes
ProtectSystem=strict
Restart=always
RestartSec=10

[Install]
WantedBy=multi-user.target
UNIT
elif [ -e "$tunnel_unit" ]; then
    systemctl disable --now text-recognizer-tunnel.service
    rm -f "$tunnel_unit" "${DESTDIR:-}/usr/local/bin/text-recognizer-tunnel"
fi

systemctl daemon-reload
systemctl enable text-recognizer.service text-recognizer-health.timer
systemctl restart text-recognizer.service text-recognizer-health.timer
if [ -n "$TUNNEL" ]; then
    systemctl enable text-recognizer-tunnel.service
    systemctl restart text-recognizer-tunnel.service
fi
