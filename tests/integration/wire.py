"""What tests say to amendd over Python stubs, and how they read its errors."""

import queue

from amend.v1 import edit_pb2, edit_pb2_grpc
from google.rpc import error_details_pb2, status_pb2


def edit_of(record):
    """An edit with one paraphrase and one probe, from a record of world_facts.json."""
    return edit_pb2.Edit(
        prompt=record["prompt"],
        subject=record["subject"],
        target_new=record["target_new"],
        paraphrases=[record["rephrase_prompt"]],
        locality_probes=[edit_pb2.Probe(prompt=record["locality_prompt"], answer=record["locality_ground_truth"])],
    )


def status_of(error):
    """The google.rpc.Status of an RpcError; empty when gRPC itself made the error."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return status_pb2.Status.FromString(value)
    return status_pb2.Status()


def info_of(status):
    """The ErrorInfo of a google.rpc.Status; an empty one when there is none."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            break
    return info


def reason_of(error):
    """The ErrorInfo reason of an RpcError."""
    return info_of(status_of(error)).reason


class EditStream:
    """A StreamEdits call whose requests are sent one by one. end() it, or a thread of gRPC waits for more."""

    def __init__(self, channel, session, metadata=None, **start):
        self._requests = queue.Queue()
        self._responses = edit_pb2_grpc.EditServiceStub(channel).StreamEdits(
            iter(self._requests.get, None), metadata=metadata
        )
        self._requests.put(edit_pb2.StreamEditsRequest(start={"session": session, **start}))

    def send(self, offset, edits):
        self._requests.put(edit_pb2.StreamEditsRequest(batch={"offset": offset, "batch": {"edits": edits}}))

    def flush(self):
        self._requests.put(edit_pb2.StreamEditsRequest(flush={}))

    def read(self):
        return next(self._responses)

    def rest(self):
        """All that still comes, once the requests have ended."""
        return list(self._responses)

    def end(self, gone=False):
        """Half-closes, or vanishes."""
        self._requests.put(None)
        if gone:
            self._responses.cancel()
