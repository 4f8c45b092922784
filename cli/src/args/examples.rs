//! What each command's help ends with: the command at work.

pub(super) const FOREBAY: &str = "\
Examples:
  forebay demo
  forebay mount s3://bucket/imagenet /mnt/data
  forebay warmup /mnt/data 'train/**'
  forebay umount /mnt/data

`forebay COMMAND --help` has examples of each command.";

pub(super) const MOUNT: &str = "\
Every option can also be set in the environment (FOREBAY_CACHE_DIR for --cache-dir) and in
the config file (cache-dir = \"…\"). The flag goes first, then the environment, then the
file. `forebay config print --example mount` prints a config file to start from.

Examples:
  A bucket, until Ctrl-C:
    forebay mount s3://bucket/imagenet /mnt/data
  In the background, with a cache of 500 GiB on a disk of its own:
    forebay mount s3://bucket/imagenet /mnt/data --daemon --cache-dir /nvme/forebay --cache-size 500GiB
  MinIO, SeaweedFS or Ceph, with credentials from the environment:
    AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… \\
    forebay mount s3://bucket /mnt/data --endpoint http://minio:9000 --path-style
  Several sources in one tree:
    forebay mount /mnt/data --source train=s3://bucket/train --source val=file:///data/val
  A version that was mounted before:
    forebay mount s3://bucket/imagenet /mnt/data --version 3fa9";

pub(super) const CACHE_SERVER: &str = "\
Mounts that name the server share one cache, and need neither credentials nor a cache of
their own. Datasets are configured in the file; `forebay config print --example cache-server`
prints one to start from. Ctrl-C and SIGTERM end the server; mounts go on with what they
have open, and wait for it to come back.

Examples:
  forebay cache-server --config /etc/forebay/server.toml
  forebay mount --server unix:/run/forebay/cache.sock imagenet /mnt/data";

pub(super) const UMOUNT: &str = "\
Files that are still open answer with errors from then on; the cache is kept.

Examples:
  forebay umount /mnt/data
  forebay umount --kill /mnt/data";

pub(super) const STATUS: &str = "\
Examples:
  forebay status
  forebay status /mnt/data
  forebay status /mnt/data --json | jq .cached_bytes";

pub(super) const WARMUP: &str = "\
Exits with 0 only when all that was asked for is in the cache and verified, with 7 when
something is not; what failed is listed. Ctrl-C stops it and keeps what was fetched.

With --server, every server of the cluster brings the part of the dataset that it keeps. Nobody
needs to have it mounted; a server that ends meanwhile takes its warm-ups up again when it
is back.

Examples:
  forebay warmup /mnt/data
  forebay warmup /mnt/data train/n01440764 'val/**/*.jpg'
  forebay warmup /mnt/data --json | tail -1
  forebay warmup --server unix:/run/forebay/cache.sock imagenet 'train/**' --rate 2GiB
  forebay warmup --server unix:/run/forebay/cache.sock imagenet --detach --name nightly
  forebay warmup --server unix:/run/forebay/cache.sock --cancel nightly";

pub(super) const CLUSTER_STATUS: &str = "\
Any server of the cluster answers for all: it asks those that live, for two seconds at most.
Exits with 0 if all are live and have answered, with 8 if one is dead, leaving, or does not
answer, and with 1 if there is no server to ask.

Examples:
  forebay cluster status
  forebay cluster status --server unix:/run/forebay/cache.sock --json |
    jq '.members[] | select(.state != \"live\") | .name'";

pub(super) const PLAN: &str = "\
The files are fetched in the plan's order, ahead of whoever reads them; reads that leave it
are served as ever. A plan ends with its last file, or when one of the same name comes.
`forebay status` shows how far it is. Programs that see only the mounted directory can say
the same through DIR/.forebay/plan, see docs/PREFETCH.md.

Examples:
  find /mnt/data/train -name '*.jpg' | shuf --random-source=seed | tee order | forebay plan /mnt/data --from -
  echo '{\"seed\": 0, \"epoch\": 3, \"rank\": 0, \"world\": 8, \"glob\": \"train/**\"}' |
    forebay plan /mnt/data --from -
  forebay plan /mnt/data --drop";

pub(super) const UPGRADE: &str = "\
The new program does all that it can before the old one ends; if it cannot take over, the
old one serves on. Open files stay open, and reads wait for the time of the pause. The
supervisor and the keeper of the mount stay what they are.

Examples:
  /opt/forebay-0.2/forebay upgrade /mnt/data
  forebay upgrade /mnt/data --binary /opt/forebay-0.2/forebay";

pub(super) const KEEPER: &str = "\
`forebay mount` starts a keeper of its own. One for a whole node is started once, apart from
all that is upgraded, and ends with SIGTERM: the mounts that it held live as long as the
processes that serve them.

Examples:
  forebay keeper --socket /run/forebay/keeper.sock";

pub(super) const VERSIONS: &str = "\
Examples:
  forebay versions /mnt/data
  forebay mount s3://bucket/imagenet /mnt/other --version 3fa9";

pub(super) const REFRESH: &str = "\
Files that are open stay as they are.

Examples:
  forebay refresh /mnt/data
  forebay refresh /mnt/data --json | jq .drift";

pub(super) const DEMO: &str = "\
Needs FUSE and half a gibibyte of disk, takes less than a minute, and cleans up.

Examples:
  forebay demo";

pub(super) const CSI_DRIVER: &str = "\
Runs as root, one a node, from the manifests in deploy/. Mounts that pods use are served by
processes of their own and stay when the driver ends; the next one finds them.

Examples:
  forebay csi-driver --node \"$NODE_NAME\"
  forebay csi-driver --node a --topology topology.kubernetes.io/zone=z1";

pub(super) const MOUNT_HOST: &str = "\
Runs as root, one a node, in a pod that is replaced only on purpose: the mounts that it has
started end with that pod.

Examples:
  forebay mount-host
  forebay csi-driver --node a --mount-host /run/forebay/mount-host.sock";

pub(super) const CONFIG_PRINT: &str = "\
Examples:
  forebay config print --example mount > forebay.toml
  forebay mount --config forebay.toml /mnt/data";

pub(super) const COMPLETIONS: &str = "\
Examples:
  forebay completions bash > /etc/bash_completion.d/forebay
  forebay completions zsh > \"${fpath[1]}/_forebay\"";

pub(super) const MAN: &str = "\
Examples:
  forebay man | man -l -
  forebay man --dir /usr/local/share/man/man1";
