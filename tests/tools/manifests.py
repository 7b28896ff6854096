"""Reads manifests of Kubernetes from stdin, checks each strictly against the schemas of these versions, and prints all as one JSON array."""

import json
import sys

import kubernetes_validate
import yaml

VERSIONS = ["1.29.0", kubernetes_validate.latest_version()]


class Once(yaml.SafeLoader):
    """Of a key that stands twice YAML would take the last one, and say nothing."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


manifests = [document for document in yaml.load_all(sys.stdin, Once) if document]
for manifest in manifests:
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except Exception as error:
            name = f"{manifest.get('kind')} {manifest.get('metadata', {}).get('name')}"
            sys.exit(f"{name}, by Kubernetes {version}: {getattr(error, 'message', error)} at {list(getattr(error, 'path', []))}")
json.dump(manifests, sys.stdout)
