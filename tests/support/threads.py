"""Concurrent requests."""

import threading


def at_once(number, act):
    """Call `act` with 0, 1, … in this number of threads at the same time, and return the results."""
    answers, barrier = [], threading.Barrier(number)

    def run(place):
        barrier.wait()
        answers.append(act(place))

    threads = [threading.Thread(target=run, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
