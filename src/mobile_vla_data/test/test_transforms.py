import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobile_vla_data.transforms import TransformError, Transforms, yaw_of

ANGLE, METRES = st.floats(-3.0, 3.0), st.floats(-5.0, 5.0)


def yaw(angle):
    return (0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2))


def matrix(x, y, angle):
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y], [0.0, 0.0, 1.0]])


@given(steps=st.lists(st.tuples(METRES, METRES, ANGLE), min_size=1, max_size=4))
def test_a_chain_is_the_product_of_its_transforms(steps):
    transforms, product = Transforms(), np.eye(3)
    for index, (x, y, angle) in enumerate(steps):
        transforms.put(f"f{index}", f"/f{index + 1}", (x, y, 0.3), yaw(angle), 1000 + index)
        product = product @ matrix(x, y, angle)
    pose = transforms.pose("/f0", f"f{len(steps)}")
    np.testing.assert_allclose((pose.x, pose.y), product[:2, 2], atol=1e-9)
    _, _, z, w = pose.rotation
    np.testing.assert_allclose(
        matrix(0, 0, 2 * math.atan2(z, w)), matrix(0, 0, math.atan2(product[1, 0], product[0, 0])), atol=1e-9
    )
    assert (pose.stamp_ns, pose.oldest) == (1000, "'f0' to 'f1'"), "as old as its oldest part"


def test_static_transforms_have_no_age_and_the_newest_of_each_frame_counts():
    transforms = Transforms()
    transforms.put("map", "odom", (1.0, 0.0, 0.0), yaw(0.0), None)
    transforms.put("odom", "base_link", (1.0, 0.0, 0.0), yaw(0.0), 5)
    transforms.put("odom", "base_link", (2.0, 0.5, 0.0), yaw(0.0), 7)
    pose = transforms.pose("map", "base_link")
    assert (pose.x, pose.y, pose.stamp_ns) == (3.0, 0.5, 7)
    assert transforms.pose("map", "odom").stamp_ns is None


def test_a_missing_link_a_circle_and_a_broken_transform_are_refused_by_name():
    transforms = Transforms()
    transforms.put("odom", "base_link", (0.0, 0.0, 0.0), yaw(0.0), 1)
    with pytest.raises(TransformError, match="no transform from 'map' to 'base_link': 'odom' has no parent"):
        transforms.pose("map", "base_link")
    transforms.put("map", "odom", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), 1)
    transforms.put("map", "odom", (math.nan, 0.0, 0.0), yaw(0.0), 1)
    with pytest.raises(TransformError, match="has no parent"):
        transforms.pose("map", "base_link")
    transforms.put("base_link", "odom", (0.0, 0.0, 0.0), yaw(0.0), 1)
    with pytest.raises(TransformError, match="circle"):
        transforms.pose("map", "base_link")


def test_the_yaw_of_an_orientation_that_says_nothing_is_none():
    assert yaw_of((0.0, 0.0, math.sin(0.4), math.cos(0.4))) == pytest.approx(0.8)
    assert yaw_of((0.0, 0.0, 0.7071, 0.7071)) == pytest.approx(math.pi / 2, abs=1e-4)
    for orientation in (
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 2.0),
        (0.0, 0.0, 1.0, math.nan),
        (0.0, 0.0, 0.0, math.inf),
    ):
        assert yaw_of(orientation) is None
