"""PyTorch, eager, as its tutorials write it but with whole arrays instead of a DataLoader."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmarks.jobs import LEARNING_RATE, Job

from . import Peer, Predictor

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class Library(Peer):
    """nn.Sequential and a loop over the batches."""

    def __init__(self, job: Job):
        super().__init__(job)
        layers: list[nn.Module] = []
        for w, b in job.weights():
            layer = nn.Linear(*w.shape)
            layer.weight.data, layer.bias.data = torch.from_numpy(w.T.copy()), torch.from_numpy(b)
            layers += [layer, ACTIVATIONS[job.activation]()]
        self.model = nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)
        self.loss = nn.CrossEntropyLoss()
        self.x, self.x_val = (torch.from_numpy(rows) for rows in self.data.floats())
        self.y, self.y_val = (torch.from_numpy(y.astype(np.int64)) for y in (self.data.y, self.data.y_val))

    def epoch(self) -> float:
        for rows in torch.randperm(len(self.x)).split(self.job.batch):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.model(self.x[rows]), self.y[rows]).backward()
            self.optimizer.step()
        with torch.no_grad():
            z = self.model(self.x_val)
            (z.argmax(1) == self.y_val).float().mean().item()
            return float(self.loss(z, self.y_val))

    def predictors(self) -> dict[str, Predictor]:
        def predict(x: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return self.model(torch.from_numpy(x).float()).softmax(1).numpy()

        return {"no_grad": predict}
