#!/bin/sh
# Makes the secrets of a deployment, once: each in a file of its own, 256 random bits. What is there stays.
set -eu
umask 077
cd "${1:-/secrets}"

[ -s master-key ] || openssl rand -base64 32 >master-key
[ -s enrollment-token ] || openssl rand -hex 32 >enrollment-token
[ -s postgres-password ] || openssl rand -hex 32 >postgres-password
[ -s redis-password ] || openssl rand -hex 32 >redis-password
