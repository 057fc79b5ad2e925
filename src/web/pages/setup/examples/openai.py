from openai import OpenAI

client = OpenAI(base_url="BASE_URL/v1", api_key="-")
answer = client.chat.completions.create(
    model="MODEL",
    messages=[{"role": "user", "content": "hello"}],
)
print(answer.choices[0].message.content)
