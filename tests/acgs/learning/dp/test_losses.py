from __future__ import annotations


def test_a_sequences_loss_does_not_depend_on_its_neighbours() -> None:
    """A loss over the tokens of the whole batch couples examples: other masks change one example's gradient."""
    import torch

    from acgs.learning.dp.losses import per_sequence_loss

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 11, generator=generator, requires_grad=True)
    labels = torch.randint(0, 11, (3, 6), generator=generator)
    full, short = torch.ones(3, 6), torch.ones(3, 6)
    short[2, 2:] = 0
    before, after = per_sequence_loss(logits, labels, full), per_sequence_loss(logits, labels, short)
    assert torch.equal(before[:2], after[:2])
    (gradient,) = torch.autograd.grad(after[0], logits)
    assert not gradient[1:].any()


def test_it_is_the_mean_over_the_sequences_own_next_tokens() -> None:
    import torch

    from acgs.learning.dp.losses import per_sequence_loss

    logits, labels = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])
    expected = torch.stack(
        [
            torch.nn.functional.cross_entropy(logits[0, :2], labels[0, 1:3]),
            torch.nn.functional.cross_entropy(logits[1, 1:4], labels[1, 2:5]),
        ]
    )
    assert torch.allclose(per_sequence_loss(logits, labels, mask), expected)


def test_labels_outside_the_mask_may_be_anything_and_no_target_means_no_loss() -> None:
    import torch

    from acgs.learning.dp.losses import per_sequence_loss

    labels = torch.full((1, 4), -100)
    assert per_sequence_loss(torch.randn(1, 4, 5), labels, torch.zeros(1, 4)).tolist() == [0.0]
