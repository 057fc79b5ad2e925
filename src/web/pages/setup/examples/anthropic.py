from anthropic import Anthropic

client = Anthropic(base_url="BASE_URL", api_key="-")
answer = client.messages.create(
    model="MODEL",
    max_tokens=1000,
    messages=[{"role": "user", "content": "hello"}],
)
print(answer.content[0].text)
