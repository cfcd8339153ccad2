from django.db import migrations

CONTENT = (
    *('name', 'role', 'category', 'position', 'enabled', 'tier'),
    *('default_model', 'temperature', 'max_tokens', 'prompt'),
)


def keep(apps, schema_editor):
    """Make the present state of each row its first version."""
    Agent, AgentVersion = apps.get_model('agents', 'Agent'), apps.get_model('agents', 'AgentVersion')
    for agent in Agent.objects.filter(version=0):
        content = {name: getattr(agent, name) for name in CONTENT}
        AgentVersion.objects.create(of=agent, number=1, content=content, note='As it was when versions began.')
        Agent.objects.filter(pk=agent.pk).update(version=1)


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0005_versions'),
    ]

    operations = [
        migrations.RunPython(keep, migrations.RunPython.noop, elidable=True),
    ]
