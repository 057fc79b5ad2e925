from google import genai

client = genai.Client(api_key="-", http_options={"base_url": "BASE_URL"})
answer = client.models.generate_content(model="MODEL", contents="hello")
print(answer.text)
