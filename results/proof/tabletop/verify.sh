#!/bin/sh
exec armillary proof verify "$(dirname "$0")" "$@"
