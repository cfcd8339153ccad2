from django.db import migrations

# Slug, name, description, steps.
PRESETS = (
    (
        'code-review-pipeline',
        'Code Review Pipeline',
        'Reviews code, writes the tests it lacks, then documents it.',
        ['code-review', 'testing-validation', 'documentation'],
    ),
    (
        'full-review',
        'Full Review',
        'Review, tests and documentation of a change in one go.',
        ['code-review', 'testing-validation', 'documentation'],
    ),
    (
        'deploy',
        'Deploy',
        'Reviews code, tests it, then plans its roll-out.',
        ['code-review', 'testing-validation', 'deployment'],
    ),
    (
        'security-audit',
        'Security Audit',
        'Reviews code, hardens it, then checks how it is deployed.',
        ['code-review', '365-security', 'deployment'],
    ),
    (
        'new-feature',
        'New Feature',
        'From an idea to requirements, a design, tasks, and the code for them.',
        ['requirements-analyzer', 'design-architect', 'task-planner', 'task-executor'],
    ),
    (
        'api-design',
        'API Design',
        'Endpoints, the schema below them, and their reference.',
        ['api-generator', 'database', 'documentation'],
    ),
)


def make(apps, schema_editor):
    """Those that were in the code until now; what staff do to them is theirs, and no release changes it back."""
    ChainPreset = apps.get_model('chains', 'ChainPreset')
    ChainPresetVersion = apps.get_model('chains', 'ChainPresetVersion')
    for position, (slug, name, description, steps) in enumerate(PRESETS):
        content = {'name': name, 'description': description, 'position': position, 'enabled': True, 'steps': steps}
        preset = ChainPreset.objects.create(slug=slug, version=1, **content)
        ChainPresetVersion.objects.create(of=preset, number=1, content=content, note='As it came with the platform.')


class Migration(migrations.Migration):

    dependencies = [
        ('chains', '0001_initial'),
    ]

    operations = [
        migrations.RunPython(make, migrations.RunPython.noop, elidable=False),
    ]
