#!/bin/sh
exec armillary bench verify "$(dirname "$0")" "$@"
