"""A server that says what a test wants: the parts of EditService that a client has to get along with."""

import concurrent.futures

import grpc
from amend.v1 import edit_pb2, edit_pb2_grpc
from google.protobuf import any_pb2
from google.rpc import status_pb2


def details(status_code, message, *infos):
    """A google.rpc.Status with details."""
    status = status_pb2.Status(code=status_code.value[0], message=message)
    for info in infos:
        packed = any_pb2.Any()
        packed.Pack(info)
        status.details.append(packed)
    return status


def abort(context, code, message, *infos):
    """Ends a call as amendd does: with a google.rpc.Status in the trailers."""
    status = details(code, message, *infos)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)


class FakeEdits(edit_pb2_grpc.EditServiceServicer):
    """Takes batches in offset order and makes revision n + 1 of offset n. `script` breaks connections and calls."""

    credits = 2

    def __init__(self):
        # {offset: batch}, as a ledger has them.
        self.ledger = {}
        # Of every connection, the offsets that came.
        self.connections = []
        # Of each connection, in order: after how many batch messages it breaks (code, message, infos...); None, never.
        self.breaks = []
        # What unary calls end with, in order; then they succeed.
        self.unary_errors = []
        self.submitted = []
        # Offsets whose outcome the stream does not tell.
        self.silent = set()
        # Refused in band, once each: {offset: google.rpc.Status}.
        self.refusals = {}

    def StreamEdits(self, requests, context):
        offsets = []
        self.connections.append(offsets)
        limit, end = self.breaks.pop(0) if self.breaks else (None, None)
        start = next(requests).start
        yield edit_pb2.StreamEditsResponse(
            started={"session": start.session, "next_offset": len(self.ledger), "credits": self.credits}
        )
        waiting = []
        while True:
            # Outcomes come when the client has used all its credits, or asks for a flush: that shows how far it goes.
            while len(waiting) < self.credits:
                if limit is not None and len(offsets) >= limit:
                    abort(context, *end)
                request = next(requests, None)
                if request is None:
                    return
                if request.HasField("flush"):
                    break
                offset = request.batch.offset
                offsets.append(offset)
                if offset in self.refusals:
                    yield self._batch(offset, error=self.refusals.pop(offset))
                    continue
                waiting.append((offset, offset in self.ledger))
                self.ledger.setdefault(offset, request.batch.batch)
            flush = len(waiting) < self.credits
            for offset, replayed in waiting:
                count = len(self.ledger[offset].edits)
                yield self._batch(offset, stage=edit_pb2.DURABLE, edit_count=count, replayed=replayed)
                if offset not in self.silent:
                    yield self._outcome(offset, replayed)
            waiting = []
            if flush:
                yield edit_pb2.StreamEditsResponse(flushed={"next_offset": len(self.ledger)})

    def _batch(self, offset, **fields):
        return edit_pb2.StreamEditsResponse(batch=edit_pb2.EditBatchStatus(offset=offset, **fields))

    def _outcome(self, offset, replayed=False):
        count = len(self.ledger[offset].edits)
        return self._batch(offset, stage=edit_pb2.LIVE, revision=offset + 1, edit_count=count, replayed=replayed)

    def _end_as_scripted(self, context):
        if self.unary_errors:
            abort(context, *self.unary_errors.pop(0))

    def GetEditBatch(self, request, context):
        self._end_as_scripted(context)
        return self._outcome(request.offset).batch

    def SubmitEditBatch(self, request, context):
        self.submitted.append(request)
        self._end_as_scripted(context)
        return edit_pb2.SubmitEditBatchResponse(batch={"stage": edit_pb2.LIVE, "revision": 1})

    def ListEditBatches(self, request, context):
        page = int(request.page_token or 0)
        response = edit_pb2.ListEditBatchesResponse(batches=[{"offset": page}])
        if page < 2:
            response.next_page_token = str(page + 1)
        return response


class FakeServer:
    """A context manager: a gRPC server with a FakeEdits, on a free port of the loopback address."""

    def __enter__(self):
        self.edits = FakeEdits()
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        edit_pb2_grpc.add_EditServiceServicer_to_server(self.edits, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *exc_info):
        self._server.stop(None).wait()
