"""Other libraries' attacks that look for the smallest change: one library a file, imported when used."""

from bench.peers import adv_lib, art, by_labels, cleverhans, foolbox, pyautoattack, secmlt, torchattacks
from bench.peers.loading import load
from bench.peers.peer import Peer

__all__ = ["BY_LABELS", "PEERS", "Peer", "load"]

PEERS: tuple[Peer, ...] = (
    *adv_lib.PEERS,
    *foolbox.PEERS,
    *secmlt.PEERS,
    *torchattacks.PEERS,
    *art.PEERS,
    *cleverhans.PEERS,
    *pyautoattack.PEERS,
)
BY_LABELS: tuple[Peer, ...] = by_labels.PEERS
