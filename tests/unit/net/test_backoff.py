from itertools import islice
from random import Random

from zvt_crypto.net.backoff import backoff


def test_ceilings_double_up_to_the_cap_and_waits_stay_below():
    # given many independent series of waits
    series = [list(islice(backoff(Random(seed), first_s=1, cap_s=4), 5)) for seed in range(500)]

    # then each wait is uniform below its ceiling
    for position, ceiling in enumerate([1, 2, 4, 4, 4]):
        waits = [s[position] for s in series]
        assert 0 <= min(waits) < 0.05 * ceiling
        assert 0.95 * ceiling < max(waits) <= ceiling


def test_a_cap_below_the_first_ceiling_holds():
    assert max(islice(backoff(Random(1), first_s=9, cap_s=0.5), 50)) <= 0.5
