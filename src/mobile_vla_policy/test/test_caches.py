"""The folders of exports, engines and compiled code."""

from mobile_vla_policy.caches import compiler_cache, exports_cache, tensorrt_cache


def test_one_variable_moves_every_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MOBILE_VLA_CACHE", str(tmp_path))
    assert {folder().parent for folder in (compiler_cache, exports_cache, tensorrt_cache)} == {tmp_path}
