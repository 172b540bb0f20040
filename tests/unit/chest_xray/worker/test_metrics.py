"""What one worker counts."""

from chest_xray.worker.metrics import Metrics


def test_a_worker_alone_counts_in_memory():
    metrics = Metrics("3.0", ("normal", "pneumonia", "covid-19"))
    value = metrics.registry.get_sample_value
    metrics.answered(200, "covid-19", 0.72, None)
    metrics.answered(422, None, None, "corrupt_image")
    metrics.batch(2)
    metrics.stage("fetch", 0.3)
    version = {"version": "3.0"}
    assert value("chest_xray_requests_total", {**version, "status": "200"}) == 1
    assert value("chest_xray_requests_total", {**version, "status": "422"}) == 1
    assert value("chest_xray_predictions_total", {**version, "label": "covid-19"}) == 1
    assert value("chest_xray_refused_total", {**version, "reason": "corrupt_image"}) == 1
    assert value("chest_xray_batch_size_sum") == 2
    covid = {"label": "covid-19"}
    assert value("chest_xray_probability_bucket", {**covid, "le": "0.7"}) == 0
    assert value("chest_xray_probability_bucket", {**covid, "le": "0.75"}) == 1
    assert value("chest_xray_stage_seconds_bucket", {"stage": "fetch", "le": "0.25"}) == 0
    assert value("chest_xray_stage_seconds_bucket", {"stage": "fetch", "le": "0.5"}) == 1
