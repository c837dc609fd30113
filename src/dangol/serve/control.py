"""The routes that steer the simulator while the server runs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from dangol.serve import models
from dangol.serve.simulator import Simulator

__all__ = ["control_router"]


def control_router(simulator: Simulator) -> APIRouter:
    """Return the simulator's routes."""
    router = APIRouter(prefix="/v1/simulator", tags=["simulator"], max_body_size=65536)

    @router.get("", response_model=models.SimulatorState)
    def simulator_state() -> dict[str, Any]:
        """Return what the simulator does, its counts, and what it may play."""
        return simulator.state()

    @router.post("/start", response_model=models.SimulatorState)
    def start_simulator(order: models.SimulatorStart) -> dict[str, Any]:
        """Begin to play a file, or the generated shop, into the engine."""
        simulator.start(order)
        return simulator.state()

    @router.patch("", response_model=models.SimulatorState)
    def change_simulator(order: models.SimulatorChange) -> dict[str, Any]:
        """Change the rate or the speed while it plays, pause it, or let it go on."""
        simulator.change(order)
        return simulator.state()

    @router.post("/stop", response_model=models.SimulatorState)
    def stop_simulator() -> dict[str, Any]:
        """Stop, and answer when all that was sent is durable."""
        simulator.stop()
        return simulator.state()

    return router
